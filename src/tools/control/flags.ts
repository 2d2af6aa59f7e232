/** The command line of the commands on what runs; their implementation is loaded only when needed. */
import { Argument, type Command, InvalidArgumentError, Option } from 'commander';
import { levels } from '../../config/schema/levels.ts';
import type { PlaceFlags } from './admin-address.ts';

export type AdminFlags = PlaceFlags & { readonly json?: boolean | undefined };

export type SessionFlags = AdminFlags & {
  readonly listener?: string;
  readonly route?: string;
  readonly client?: string;
  readonly sni?: string;
  readonly upstream?: string;
  readonly endpoint?: string;
  readonly limit: string;
};

/** What runs the commands; each resolves with an exit code. */
export type Control = typeof import('./command.ts');

/** Adds `-c` and `--admin`, which say where a running penstock is asked. */
export function addPlaceOptions(command: Command): Command {
  return command
    .addOption(
      new Option(
        '-c, --config <file>',
        'the configuration that it runs with, whose admin.bind is asked (default: ./penstock.yaml, then /etc/penstock/penstock.yaml)',
      ),
    )
    .addOption(
      new Option(
        '--admin <address>',
        'its admin endpoint: host:port or unix:/path (default: admin.bind of the configuration, or 127.0.0.1:9901)',
      ).conflicts('config'),
    );
}

/** Adds `reload`, `sessions`, `kill`, `drain`, `undrain` and `log-level`. */
export function addControlCommands(
  program: Command,
  run: (command: (control: Control) => Promise<number>) => Promise<void>,
): void {
  const add = (name: string, description: string): Command =>
    addPlaceOptions(program.command(name).description(description)).option('--json', 'print JSON');
  add('reload', 'have a running penstock read its configuration again').action((options: AdminFlags) =>
    run(({ reload }) => reload(options)),
  );
  add('sessions', 'list the open connections of a running penstock')
    .option('--listener <name>', 'only those of this listener')
    .option('--route <name>', 'of this route: its name or number')
    .option('--client <address>', 'from this address, address with port, or network (CIDR)')
    .option('--sni <name>', 'that asked for this server name')
    .option('--upstream <name>', 'to this upstream')
    .option('--endpoint <address>', 'to this endpoint')
    .option('--limit <n>', 'list at most so many; all are counted', parseLimit, '1000')
    .action((options: SessionFlags) => run(({ sessions }) => sessions(options)));
  add('kill', 'end open connections of a running penstock')
    .argument('<conn...>', 'their ids, as `penstock sessions` and the log show them')
    .action((conns: string[], options: AdminFlags) => run(({ kill }) => kill(conns, options)));
  const place = 'an upstream, or one endpoint of it: orders, orders/10.0.1.5:5432';
  add('drain', 'send no new connections to an upstream or endpoint; open ones stay')
    .argument('<upstream[/endpoint]>', place)
    .action((text: string, options: AdminFlags) => run(({ drain }) => drain(text, options)));
  add('undrain', 'undo `drain`')
    .argument('<upstream[/endpoint]>', place)
    .action((text: string, options: AdminFlags) => run(({ undrain }) => undrain(text, options)));
  add('log-level', 'show or change how much a running penstock logs')
    .addArgument(
      new Argument('[level]', 'until `reset` or a restart; without it, shows the level').choices([
        ...levels,
        'reset',
      ]),
    )
    .action((level: string | undefined, options: AdminFlags) =>
      run(({ logLevel }) => logLevel(level, options)),
    );
}

function parseLimit(text: string): string {
  if (!/^\d{1,5}$/.test(text) || Number(text) > 20_000) {
    throw new InvalidArgumentError('expected a number of up to 20000.');
  }
  return text;
}
