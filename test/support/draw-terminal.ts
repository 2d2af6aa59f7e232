/**
 * Writes docs/images/terminal.svg: what the configuration of docs/getting-started.md gets from penstock, as a terminal shows it,
 * line after line where pictures move and all at once elsewhere.
 * `npx node test/support/draw-terminal.ts`, after a change to what `check` or `explain` print.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

const root = resolve(import.meta.dirname, '../..');
const main = join(root, 'src/main.ts');
const page = readFileSync(join(root, 'docs/getting-started.md'), 'utf8');
const configuration = /```yaml\n(.*?)```/s.exec(page)?.[1] ?? '';
const prepared = ['pki init pki', 'pki issue pki db.example.com', 'pki issue pki orders --client'];
const shown = [
  'check',
  'explain --listener database --sni db.example.com --client-cert pki/orders.crt',
  'explain --listener database --sni orders.example.com',
];
const size = { character: 7.8, line: 18, margin: 20 };
/** In seconds: before a command, before what it prints, and before each further line. */
const pauses = { command: 1.6, output: 0.8, line: 0.04 };

const directory = mkdtempSync(join(tmpdir(), 'penstock-'));
try {
  writeFileSync(join(directory, 'penstock.yaml'), configuration);
  for (const command of prepared) run(command);
  const lines = shown.flatMap((command) => [
    `$ penstock ${command}`,
    ...run(command).trimEnd().split('\n'),
    '',
  ]);
  writeFileSync(join(root, 'docs/images/terminal.svg'), drawn(lines.slice(0, -1)));
} finally {
  rmSync(directory, { recursive: true });
}

function run(command: string): string {
  return execFileSync(process.execPath, [main, ...command.split(' ')], { cwd: directory, encoding: 'utf8' });
}

function drawn(lines: readonly string[]): string {
  const width = Math.ceil(Math.max(...lines.map((line) => line.length)) * size.character + 2 * size.margin);
  const height = lines.length * size.line + 2 * size.margin;
  let time = 0;
  const texts = lines.map((line, index) => {
    const y = size.margin + (index + 0.75) * size.line;
    const colour = isCommand(line) ? '#7ee787' : '#e6edf3';
    if (index > 0) time += pauseBefore(line, lines[index - 1] ?? '');
    const delay = `animation-delay:${time.toFixed(2)}s`;
    return `<text x="${size.margin}" y="${y}" fill="${colour}" style="${delay}" xml:space="preserve">${escaped(line)}</text>`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace" font-size="13">
<title>penstock check and penstock explain in a terminal</title>
<style>
@media (prefers-reduced-motion: no-preference) { text { animation: appear 0.01s backwards } }
@keyframes appear { from { opacity: 0 } }
</style>
<rect width="100%" height="100%" rx="8" fill="#0d1117"/>
${texts.join('\n')}
</svg>
`;
}

function isCommand(line: string): boolean {
  return line.startsWith('$ ');
}

function pauseBefore(line: string, previous: string): number {
  if (isCommand(line)) return pauses.command;
  return isCommand(previous) ? pauses.output : pauses.line;
}

function escaped(line: string): string {
  return line.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
