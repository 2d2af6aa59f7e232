/* Everything that comes from outside goes into the page as text content, never as markup. */

export const byId = (id) => document.getElementById(id);

export function element(name, classes, text) {
  const made = document.createElement(name);
  if (classes) made.className = classes;
  if (text !== undefined) made.textContent = text;
  return made;
}

export function button(text, act, classes = '') {
  const made = element('button', classes, text);
  made.type = 'button';
  made.addEventListener('click', act);
  return made;
}

/* Changes only what differs, so that a selection survives and screen readers are not disturbed. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
export function setClass(node, classes) {
  if (node.className !== classes) node.className = classes;
}
