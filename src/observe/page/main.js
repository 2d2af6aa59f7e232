/* The live page: asks for the status every two seconds, and shows it. */
import { makeActions, showLevel } from './actions.js';
import { machines, served } from './cluster.js';
import { byId, element, setClass, setText } from './dom.js';
import { showFound, showHead, showLost } from './head.js';
import { authorities, certificates, endpoints, errors, listeners, routes, workers } from './sections.js';
import { makeSessions } from './sessions.js';
import { fillSection, makeSection } from './table.js';
import { fillTiles, makeTiles } from './tiles.js';

const period = 2000;
const sections = [listeners, routes, endpoints, errors, machines, served, certificates, authorities, workers];
const reload = { node: element('section') };

function build() {
  makeTiles();
  makeActions();
  sections.forEach(makeSection);
  reload.node.append(element('h2', '', 'Last reload'));
  const note = reload.node.appendChild(element('div', 'note'));
  reload.text = note.appendChild(element('p'));
  reload.list = note.appendChild(element('ul'));
  const pair = (...pairs) => {
    const box = element('div', 'pairs');
    box.append(...pairs.map(({ node }) => node));
    return box;
  };
  const rest = [
    pair(machines, served),
    pair(certificates, authorities),
    workers.node,
    makeSessions(),
    reload.node,
  ];
  byId('sections').append(listeners.node, routes.node, endpoints.node, errors.node, ...rest);
}

function fillReload({ last_reload: last }) {
  const text =
    last === null
      ? 'None since the start.'
      : `${new Date(last.at).toLocaleString('sv-SE')}: ${last.ok ? 'succeeded.' : 'failed. What was served before still is.'}`;
  setText(reload.text, text);
  setClass(reload.text, last === null || last.ok ? '' : 'bad');
  const faults = last === null ? [] : last.faults;
  if (reload.shown !== faults.join('\n')) {
    reload.list.replaceChildren(...faults.map((fault) => element('li', '', fault)));
    reload.shown = faults.join('\n');
  }
  reload.list.hidden = faults.length === 0;
}

function show(now, before) {
  showFound();
  showHead(now);
  showLevel(now.log_level);
  fillTiles(now, before);
  for (const section of sections) fillSection(section, now, before);
  fillReload(now);
}

async function ask() {
  try {
    const response = await fetch('status', { cache: 'no-store', signal: AbortSignal.timeout(5000) });
    if (response.ok) return await response.json();
    showLost(`answers ${response.status}`);
  } catch {
    showLost('unreachable');
  }
  return undefined;
}

let last;

async function run() {
  try {
    /* A hidden page requests nothing. */
    const now = document.hidden ? undefined : await ask();
    if (now !== undefined) {
      show(now, last);
      last = now;
    }
  } finally {
    setTimeout(run, period);
  }
}

build();
run();
