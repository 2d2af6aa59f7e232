/* What an operator can do from here, each behind a question. */

import { command, confirm, explain } from './dialog.js';
import { button, byId, element } from './dom.js';

const levels = ['reset', 'fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'];

export function makeActions() {
  const bar = byId('actions');
  bar.append(button('Reload…', askReload));
  const select = bar.appendChild(element('label', '', 'Log level ')).appendChild(element('select'));
  select.append(...levels.map((level) => new Option(level, level)));
  select.addEventListener('change', () => askLevel(select));
  bar.select = select;
}

export function showLevel(level) {
  const { select } = byId('actions');
  if (document.activeElement !== select && select.value !== level) select.value = level;
}

function askReload() {
  confirm('Read the configuration again? If it has a fault, what is served stays.', [
    ['Reload', async () => ((await command('reload')).ok ? 'It was reloaded.' : '')],
  ]);
}

function askLevel(select) {
  const level = select.value;
  const text =
    level === 'reset'
      ? 'Log as the configuration says?'
      : `Log at level ${level}, until that is reset or a restart?`;
  confirm(text, [
    ['Change it', async () => `The level is ${(await command('log-level', { level })).level} now.`],
  ]);
  select.blur();
}

export function askDrain(upstream, { label: endpoint, active, drained }, isWhole) {
  if (drained) {
    const given = isWhole ? { upstream } : { upstream, endpoint };
    confirm(`Send connections to ${isWhole ? upstream : endpoint} again?`, [
      ['Undrain', async () => describeDrain(await command('undrain', given), false)],
    ]);
    return;
  }
  confirm(`Send no new connections to ${endpoint}? Its ${active} open ones stay until they end.`, [
    ['Drain it', async () => describeDrain(await command('drain', { upstream, endpoint }), true)],
    [`Drain all of ${upstream}`, async () => describeDrain(await command('drain', { upstream }), true)],
  ]);
}

function describeDrain({ upstream, endpoint, open, serving }, isDrained) {
  const place = endpoint ?? upstream;
  if (!isDrained) return `${place} takes connections again.`;
  const rest =
    serving.length > 0 ? `New ones go to ${serving.join(', ')}.` : `Nothing serves ${upstream} now.`;
  return `${place} takes no new connections; ${open} are open. ${rest}`;
}

export function askKill({ conn, client }, done) {
  confirm(`End the connection ${conn} of ${client}, by a reset on both sides?`, [
    [
      'End it',
      async () => {
        await command('kill', { conn });
        done();
        return `${conn} has ended.`;
      },
    ],
  ]);
}

/* What docs/errors.md says about a code; it is part of the page. */
export function explainCode(code) {
  const found = JSON.parse(byId('error-texts').textContent)[code];
  if (found === undefined) explain(code, ['docs/errors.md of the package describes it.']);
  else
    explain(code, [
      `It means: ${found.means}.`,
      `Usual fault: ${found.fault}.`,
      `What to do: ${found.remedy}.`,
    ]);
}
