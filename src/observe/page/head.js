/* The head: whose page this is, how it is, and what is wrong. */
import { byId, element, setClass, setText } from './dom.js';
import { clock, span } from './format.js';

const shown = 6;

/* The worst that is known: green, amber or red. */
export function showHead(now) {
  const severities = now.problems.map(({ severity }) => severity);
  const tone = severities.includes('bad') ? 'bad' : severities.length > 0 || now.draining ? 'warn' : 'good';
  const state = now.draining ? 'draining' : now.ready ? 'ready' : 'not ready';
  const many = `${severities.length} problem${severities.length === 1 ? '' : 's'}`;
  setText(byId('host'), now.host);
  showState(
    severities.length > 0 && now.ready && !now.draining ? `${state}, ${many}` : state,
    tone,
    now.host,
  );
  const up = span(Date.parse(now.at) - Date.parse(now.started_at));
  setText(byId('facts'), `${now.version} on Node ${now.node}, process ${now.pid}, up ${up}`);
  showProblems(now.problems);
}

let lostAt;

export function showLost(why) {
  lostAt = lostAt || new Date();
  showState(`${why} since ${clock(lostAt)}`, 'bad', byId('host').textContent);
  document.querySelector('main').className = 'stale';
}

export function showFound() {
  lostAt = undefined;
  setClass(document.querySelector('main'), '');
}

function showState(text, tone, host) {
  setText(byId('state'), text);
  setClass(byId('state'), tone);
  setClass(document.querySelector('header'), `is-${tone}`);
  const name = host ? `${host} – penstock` : 'penstock';
  const title = tone === 'good' ? name : `${text} – ${name}`;
  if (document.title !== title) document.title = title;
}

let lastProblems = '';

function showProblems(problems) {
  const list = byId('problems');
  const texts = problems.slice(0, shown).map(({ severity, text }) => [severity, text]);
  if (problems.length > shown) texts.push(['warn', `and ${problems.length - shown} more: see below`]);
  const now = JSON.stringify(texts);
  list.hidden = texts.length === 0;
  if (now === lastProblems) return;
  lastProblems = now;
  list.replaceChildren(...texts.map(([severity, text]) => element('li', severity, text)));
}
