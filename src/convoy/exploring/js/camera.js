// A photo with the camera of a computer. On a phone, a file input opens the camera instead.

import { byId } from "./elements.js";
import { write } from "./text.js";

const CONSTRAINTS = { video: { facingMode: "environment", width: { ideal: 1280 } } };
const PROBLEMS = { NotAllowedError: "camera_denied", NotFoundError: "camera_missing", OverconstrainedError: "camera_missing" };

let stream = null; // while the camera is on
let isStarting = false; // the browser may ask for permission

export function startCamera(take) {
  // `take` gets the video element, which shows the picture.
  byId("camera-on").hidden = !navigator.mediaDevices?.getUserMedia; // only in a secure context
  byId("camera-on").addEventListener("click", switchOn);
  byId("camera-off").addEventListener("click", switchOff);
  byId("shoot").addEventListener("click", () => {
    take(byId("video"));
    switchOff();
  });
  byId("viewfinder").addEventListener("keydown", (event) => event.key === "Escape" && switchOff());
  document.addEventListener("visibilitychange", () => document.hidden && switchOff());
}

async function switchOn() {
  if (isStarting) return;
  isStarting = true;
  const video = byId("video");
  write(byId("pad-message"), "");
  try {
    stream = await navigator.mediaDevices.getUserMedia(CONSTRAINTS);
    video.srcObject = stream;
    await video.play();
    byId("viewfinder").hidden = false;
    byId("shoot").focus();
  } catch (error) {
    switchOff();
    write(byId("pad-message"), PROBLEMS[error.name] ?? "camera_fails");
  }
  isStarting = false;
}

function switchOff() {
  if (!stream) return;
  for (const track of stream.getTracks()) track.stop();
  stream = byId("video").srcObject = null;
  byId("viewfinder").hidden = true;
  byId("camera-on").focus();
}
