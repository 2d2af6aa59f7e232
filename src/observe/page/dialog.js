/* Questions before anything is done, and what came of it. */
import { button, byId, element } from './dom.js';

/**
 * Asks before it acts. `choices`: [text, act], where `act` resolves with what to say. Nothing happens if the
 * dialog is closed in another way.
 */
export function confirm(question, choices) {
  const dialog = byId('dialog');
  const buttons = choices.map(([text, act]) => button(text, () => carryOut(dialog, act), 'danger'));
  open(dialog, [element('p', '', question)], buttons);
}

/* Says something: paragraphs, the first of them as a heading. */
export function explain(heading, paragraphs) {
  open(byId('dialog'), [element('h2', '', heading), ...paragraphs.map((text) => element('p', '', text))], []);
}

function open(dialog, content, buttons) {
  const row = element('p', 'buttons');
  row.append(
    button(buttons.length === 0 ? 'Close' : 'Cancel', () => dialog.close()),
    ...buttons,
  );
  dialog.replaceChildren(...content, row);
  if (!dialog.open) dialog.showModal();
}

async function carryOut(dialog, act) {
  for (const one of dialog.querySelectorAll('button')) one.disabled = true;
  try {
    open(dialog, [element('p', '', await act())], []);
  } catch (error) {
    open(dialog, [element('p', 'bad', error.message)], []);
  }
}

/* Sends a command. Only a page of this very endpoint can send this header. Throws an Error that says what is wrong. */
export async function command(path, given = {}) {
  const query = new URLSearchParams(given);
  const response = await fetch(`${path}${query.size > 0 ? `?${query}` : ''}`, {
    method: 'POST',
    headers: { 'X-Penstock-Command': '1' },
  });
  const text = await response.text();
  let answer;
  try {
    answer = JSON.parse(text);
  } catch {
    throw new Error(text);
  }
  if (!answer.ok) throw new Error(answer.fault ?? answer.faults.join('\n'));
  return answer;
}
