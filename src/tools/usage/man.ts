/** The manual page penstock(1), from the shape of the command line. */
import { allCommands, type CommandShape } from './shape.ts';

/** In man(7)'s macros. */
export function manualOf(program: CommandShape, version: string): string {
  // A command that only leads to others has nothing of its own to say.
  const commands = allCommands(program).filter(
    ({ path, commands: inner, arguments: list }) =>
      path.length > 1 && (inner.length === 0 || list.length > 0),
  );
  return `${[
    `.TH PENSTOCK 1 "" "penstock ${roff(version)}"`,
    '.SH NAME',
    'penstock \\- a TLS proxy for TCP services',
    '.SH SYNOPSIS',
    '.B penstock',
    '.I COMMAND',
    '[options]',
    '.SH DESCRIPTION',
    roff(program.description),
    '.SH COMMANDS',
    ...commands.flatMap(section),
    '.SH OPTIONS',
    ...terms(program.options),
    '.SH EXIT STATUS',
    ...terms([
      { term: '0', description: 'done; for run: stopped as asked, after a drain' },
      { term: '1', description: 'failed while running: an address in use, a check that found something' },
      { term: '2', description: 'wrong usage, or a faulty configuration' },
    ]),
    '.SH SIGNALS',
    ...terms([
      {
        term: 'SIGTERM, SIGINT',
        description: 'stop accepting and let open connections end; a second one ends them at once',
      },
      { term: 'SIGHUP', description: 'reload; a faulty configuration is refused, and the old one stays' },
      { term: 'SIGUSR1', description: 'reopen the log file' },
      { term: 'SIGUSR2', description: 'replace the workers with the code on disk' },
    ]),
    '.SH FILES',
    ...terms([
      {
        term: './penstock.yaml, /etc/penstock/penstock.yaml',
        description: 'the configuration, if no other is named',
      },
    ]),
  ].join('\n')}\n`;
}

function section({ path, description, arguments: list, options }: CommandShape): string[] {
  const synopsis = [...path, ...(options.length > 0 ? ['[options]'] : []), ...list.map(({ term }) => term)];
  return [
    `.SS ${roff(synopsis.join(' '))}`,
    roff(`${capital(description)}.`),
    ...terms(list),
    ...terms(options),
  ];
}

function terms(list: readonly { readonly term: string; readonly description: string }[]): string[] {
  return list.flatMap(({ term, description }) => ['.TP', `.B ${roff(term)}`, roff(description)]);
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** A text line is no request, and a hyphen is one that can be copied. */
function roff(text: string): string {
  const escaped = text.replaceAll('\\', '\\e').replaceAll('-', '\\-').replaceAll('’', "'");
  return /^[.']/.test(escaped) ? `\\&${escaped}` : escaped;
}
