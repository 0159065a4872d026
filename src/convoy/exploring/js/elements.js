// Makes elements of the page, and keyboard navigation that several parts share.

const FAR_MS = 150; // until a part that cannot be seen follows a change

export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

export function byId(id) {
  return document.getElementById(id);
}

export function table(attributes, head, rows) {
  const cell = (tag) => (content) => (content instanceof HTMLElement && /^T[DH]$/.test(content.tagName) ? content : element(tag, {}, content));
  const body = element("tbody", {}, ...rows.map((row) => element("tr", {}, ...row.map(cell("td")))));
  const top = head.length ? element("thead", {}, element("tr", {}, ...head.map(cell("th")))) : null;
  return element("table", attributes, top, body);
}

export function moveWithArrows(container, selector) {
  // One tab stop for a group of buttons; the arrow keys move between them, also up and down in a grid.
  const items = () => [...container.querySelectorAll(selector)];
  const focus = (target) => {
    for (const item of items()) item.tabIndex = item === target ? 0 : -1;
    target.focus();
  };
  items().forEach((item, place) => (item.tabIndex = place ? -1 : 0));
  container.addEventListener("keydown", (event) => {
    const all = items();
    const place = all.indexOf(document.activeElement);
    if (place < 0) return;
    const perRow = Math.max(1, all.filter((item) => item.offsetTop === all[0].offsetTop).length);
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: perRow, ArrowUp: -perRow, Home: -place, End: all.length - 1 - place }[event.key];
    if (step === undefined || !all[place + step]) return;
    event.preventDefault();
    focus(all[place + step]);
  });
}

export function later(task, milliseconds) {
  // Returns a function that runs the task once, this long after its last call.
  let timer = 0;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(task, milliseconds);
  };
}

export function setText(target, text) {
  // A new text costs the browser a layout, also if it is the same. Returns whether it is another.
  const isOther = target.textContent !== text;
  if (isOther) target.textContent = text;
  return isOther;
}

export function visibleFirst(target, task) {
  // Returns a function that runs the task at once while the element is in the window, otherwise when there is time.
  let isVisible = true; // until the observer reports
  const far = later(task, FAR_MS);
  new IntersectionObserver((entries) => (isVisible = entries.at(-1).isIntersecting)).observe(target);
  return () => (isVisible ? task() : far());
}

export function pause() {
  // Lets the page respond between the steps of a long computation.
  return new Promise((resolve) => setTimeout(resolve));
}
