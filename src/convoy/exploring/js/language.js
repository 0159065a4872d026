// The language of the page: that of the address, else the last choice on this device, else the one chosen when the page
// was made, else the one of the browser.

import { byId, element } from "./elements.js";
import { announce, listen, store } from "./store.js";
import { setWords } from "./text.js";

const REMEMBERED = "convoy-language";

export function startLanguage(fromAddress) {
  const codes = Object.keys(store.page.words);
  const isKnown = (code) => codes.includes(code);
  const preferred = store.page.isLanguageChosen ? null : ofBrowser(codes);
  store.language = [fromAddress, remembered(), preferred, document.documentElement.lang].find(isKnown);
  showLanguage();
  if (codes.length < 2) return;
  const buttons = codes.map((code) => element("button", { type: "button", class: "link", lang: code, onclick: () => selectLanguage(code) }, nameOf(code)));
  byId("languages").append(...buttons);
  const mark = () => buttons.forEach((button) => (button.hidden = button.lang === store.language));
  listen("language", mark);
  mark();
}

export function selectLanguage(code) {
  if (code === store.language || !(code in store.page.words)) return;
  store.language = code;
  try {
    localStorage.setItem(REMEMBERED, code);
  } catch {
    // Some browsers give a page that was opened from a file no storage.
  }
  showLanguage();
  announce("language");
}

function showLanguage() {
  document.documentElement.lang = store.language;
  setWords(store.page.words[store.language]);
}

function remembered() {
  try {
    return localStorage.getItem(REMEMBERED);
  } catch {
    return null;
  }
}

function ofBrowser(codes) {
  const main = (code) => code.split("-")[0];
  return navigator.languages.map((wanted) => codes.find((code) => main(code) === main(wanted))).find(Boolean);
}

function nameOf(code) {
  // In the language itself: English, 中文.
  const [language] = code.split("-");
  return new Intl.DisplayNames([code], { type: "language" }).of(language);
}
