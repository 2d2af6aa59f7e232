/** What the demo prints: 80 columns, with colours only on a terminal. */
import { styleText } from 'node:util';
import type { Check } from './checks.ts';
import type { Mode } from './modes.ts';

/** Printed before the first connection. `count`: how many modes. `moved`: the ports that were taken. */
export function opening(directory: string, reused: boolean, count: number, moved: readonly number[]): void {
  print(paint('bold', 'penstock demo'));
  const pki = reused ? 'found' : 'made';
  print(`${inWords(count)} listeners and their upstreams on 127.0.0.1; PKI ${pki} in ${directory}/`);
  if (moved.length > 0)
    print(paint('yellow', `taken by another process: ${moved.join(', ')}; others are used`));
}

/** Something to paste. */
type Command = { readonly text: string; readonly shows: string };

/** Prints a mode: what it shows, what happened, and what to paste. */
export function modeTried(
  index: number,
  mode: Mode,
  port: number,
  checks: readonly Check[],
  commands: readonly Command[],
): void {
  const address = `127.0.0.1:${port}`;
  const title = `${index}. ${mode.title}`;
  print('');
  print(`${paint('bold', title)}${address.padStart(78 - title.length)}`);
  print(indent(mode.what, 3));
  for (const { ok, text } of checks) {
    print(`   ${ok ? paint('green', '✓') : paint('red', '✗')} ${indent(text, 5).trimStart()}`);
  }
  for (const { text, shows } of commands) {
    print('');
    print(paint('cyan', indent(text, 3)));
    print(paint('dim', indent(`shows ${shows}`, 3)));
  }
}

/** Printed after the last mode. */
export function conclusion(ok: boolean, count: number, directory: string, exiting: boolean): void {
  const log = `${directory}/access.log`;
  print('');
  print(
    ok
      ? paint('green', `✓ All ${inWords(count)} modes work.`)
      : paint('red', `✗ Not all of it worked; see ${log}`),
  );
  if (exiting) return;
  print(`
Paste the commands into another terminal, in this directory. To look further:
  tail -f ${log}
  less ${directory}/penstock.yaml
  ${checkCommand()} -c ${directory}/penstock.yaml
(\`run\` would take that file too, but the upstreams in it end with this demo.)

Serving until Ctrl-C.`);
}

function inWords(count: number): string {
  return count === 7 ? 'seven' : 'six';
}

/** How to run it here: in a checkout through npm, which has its own Node. */
function checkCommand(): string {
  return process.argv[1]?.endsWith('.ts') ? 'npm run -s penstock -- check' : 'penstock check';
}

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

function paint(style: Parameters<typeof styleText>[0], text: string): string {
  return process.stdout.isTTY && process.stdout.hasColors() ? styleText(style, text) : text;
}

function indent(text: string, by: number): string {
  return text.replace(/^/gm, ' '.repeat(by));
}
