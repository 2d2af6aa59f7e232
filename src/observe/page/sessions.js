/* Open connections, asked for on demand: there may be many, and they name people's machines. */
import { askKill } from './actions.js';
import { button, element, setText } from './dom.js';
import { ago, bytes, count } from './format.js';
import { fillSection, makeSection } from './table.js';

const filters = ['client', 'listener', 'route', 'sni', 'upstream', 'endpoint'];
const limit = 200;

const section = {
  title: 'Open connections',
  none: 'None fits.',
  columns: [
    ['Connection', 'code'],
    ['Route'],
    ['Client', 'code'],
    ['Name or identity', 'long aside'],
    ['Endpoint', 'code aside'],
    ['For', 'number'],
    ['In', 'number aside'],
    ['Out', 'number aside'],
    ['', 'act'],
  ],
  rows: ({ sessions, at }) =>
    sessions.map((one) => [
      one.conn,
      one.route === undefined ? one.listener : `${one.listener}/${one.route}`,
      one.client,
      one.client_cert?.subject ?? one.sni ?? '–',
      one.endpoint ?? `(${one.phase})`,
      ago(one.started_at, at),
      bytes(one.bytes_in),
      bytes(one.bytes_out),
      { text: 'End…', act: () => askKill(one, list) },
    ]),
};
const fields = new Map();

export function makeSessions() {
  makeSection(section);
  const form = element('p', 'tools');
  for (const name of filters) {
    const field = form.appendChild(element('input'));
    field.placeholder = name;
    field.setAttribute('aria-label', name);
    field.addEventListener('keydown', ({ key }) => key === 'Enter' && list());
    fields.set(name, field);
  }
  form.append(button('List', list));
  section.found = form.appendChild(element('span'));
  section.tools.before(form);
  section.tools.hidden = true;
  section.scroll.hidden = true;
  section.empty.hidden = true;
  return section.node;
}

async function list() {
  const given = [...fields].flatMap(([name, { value }]) =>
    value.trim() === '' ? [] : [[name, value.trim()]],
  );
  try {
    const response = await fetch(`sessions?${new URLSearchParams([...given, ['limit', String(limit)]])}`);
    if (response.status === 422) throw new Error((await response.json()).fault);
    if (!response.ok) throw new Error(await response.text());
    const { total, sessions } = await response.json();
    fillSection(section, { sessions, at: new Date().toISOString() });
    setText(
      section.found,
      total > sessions.length ? `${count(sessions.length)} of ${count(total)}` : count(total),
    );
  } catch (error) {
    setText(section.found, error.message);
  }
}
