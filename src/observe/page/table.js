/* A section with a table that is refilled in place. */
import { button, element, setClass, setText } from './dom.js';

let made = 0;

/**
 * `columns`: [title, classes]. `rows(now, before)`: cells of text, or { text, tone, title, act }; `act` makes the
 * cell a button. `none` is said where there are no rows; without it the section is hidden then. `most` rows are
 * shown at first, and a filter and a button for the rest if there are more.
 */
export function makeSection(section) {
  section.node = element('section');
  const heading = section.node.appendChild(element('h2', '', section.title));
  made += 1;
  heading.id = `section-${made}`;
  section.tools = section.node.appendChild(element('p', 'tools'));
  section.scroll = section.node.appendChild(element('div', 'scroll'));
  section.scroll.tabIndex = 0;
  section.scroll.setAttribute('role', 'region');
  section.scroll.setAttribute('aria-labelledby', heading.id);
  const table = section.scroll.appendChild(element('table'));
  table.setAttribute('aria-labelledby', heading.id);
  const row = table.appendChild(element('thead')).appendChild(element('tr'));
  for (const [title, classes] of section.columns) {
    row.appendChild(element('th', (classes || '').replace('code', ''), title)).scope = 'col';
  }
  section.body = table.appendChild(element('tbody'));
  section.empty = section.node.appendChild(element('p', 'note', section.none));
  makeTools(section);
  return section;
}

function makeTools(section) {
  section.filter = '';
  section.isWhole = false;
  const input = section.tools.appendChild(element('input'));
  input.type = 'search';
  input.placeholder = 'filter';
  input.setAttribute('aria-label', `filter ${section.title.toLowerCase()}`);
  input.addEventListener('input', () => {
    section.filter = input.value.trim().toLowerCase();
    section.refill();
  });
  section.more = section.tools.appendChild(
    button('show all', () => {
      section.isWhole = !section.isWhole;
      section.refill();
    }),
  );
  section.said = section.tools.appendChild(element('span'));
  section.refill = () => {};
}

export function fillSection(section, now, before) {
  section.refill = () => fillSection(section, now, before);
  const all = section.rows(now, before);
  const fitting =
    section.filter === '' ? all : all.filter((cells) => cells.some((cell) => fits(cell, section.filter)));
  const most = section.isWhole ? all.length : (section.most ?? all.length);
  const rows = fitting.slice(0, most);
  section.node.hidden = all.length === 0 && section.none === undefined;
  section.scroll.hidden = rows.length === 0;
  section.empty.hidden = all.length > 0;
  section.tools.hidden = all.length <= (section.most ?? all.length);
  setText(section.more, section.isWhole ? 'show fewer' : 'show all');
  setText(section.said, `${rows.length} of ${all.length}`);
  fillRows(section, rows);
}

const fits = (cell, filter) => (cell.text ?? String(cell)).toLowerCase().includes(filter);

function fillRows({ body, columns }, rows) {
  while (body.rows.length > rows.length) body.lastElementChild.remove();
  for (const [index, cells] of rows.entries()) {
    const row = body.rows[index] || makeRow(body, columns);
    for (const [column, cell] of cells.entries()) fillCell(row.cells[column], cell, columns[column][1] || '');
  }
}

function fillCell(node, cell, classes) {
  const { text, tone, title, act } = typeof cell === 'string' ? { text: cell } : cell;
  if (act === undefined) setText(node, text);
  else fillButton(node, text, act);
  setClass(node, `${classes} ${tone || ''}`.trim());
  if (title !== undefined && node.title !== title) node.title = title;
}

function fillButton(node, text, act) {
  const known = node.firstElementChild;
  if (known?.tagName === 'BUTTON') setText(known, text);
  else node.replaceChildren(button(text, () => node.act()));
  node.act = act;
}

function makeRow(body, columns) {
  const row = body.appendChild(element('tr'));
  columns.forEach((_, column) => {
    const cell = row.appendChild(element(column === 0 ? 'th' : 'td'));
    if (column === 0) cell.scope = 'row';
  });
  return row;
}
