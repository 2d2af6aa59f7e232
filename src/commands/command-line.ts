/** Defines the command line: every command with its flags. */
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { startAhead } from '../config/loading-threads.ts';
import { levels } from '../config/schema/levels.ts';
import { leaveSignals } from '../process/no-inspector.ts';
import { describeVersion } from '../process/version.ts';
import { protocolNames } from '../protocols/table.ts';
import { addClusterCommand } from '../tools/cluster/flags.ts';
import { addControlCommands, addPlaceOptions } from '../tools/control/flags.ts';
import { addImportCommand } from '../tools/import/flags.ts';
import { addLoadFlags } from '../tools/load/flags.ts';
import { addPkiCommand } from '../tools/pki/flags.ts';
import { addProbeFlags } from '../tools/probe/flags.ts';
import { addUsageCommands } from '../tools/usage/flags.ts';
import { loaderFor, storedOption } from './stored.ts';

const config = new Option(
  '-c, --config <file>',
  'the configuration; a directory: penstock.yaml in it; -: standard input (default: ./penstock.yaml, then /etc/penstock/penstock.yaml)',
);
const noKeys = () =>
  new Option(
    '--no-keys',
    'do without private keys: they are neither read nor checked, nor are handshakes tried',
  );

const program = new Command('penstock')
  .description(
    'A TLS proxy for TCP services: routes by SNI, terminates or passes through, enforces mutual TLS.',
  )
  .version(describeVersion(process.versions))
  .exitOverride()
  .configureHelp({ showGlobalOptions: true })
  .hook('preAction', (_, command) => {
    if (command.name() !== 'run') leaveSignals();
  });

program
  .command('run')
  .description('run the proxy')
  .addOption(config)
  .option('--workers <n>', 'processes that share the listeners; overrides the file', parseWorkers)
  .option('--log-level <level>', `one of ${levels.join(', ')}; overrides the file`, parseLevel)
  .action((options) =>
    finish(startAhead(options.config).then(async () => (await import('./run.ts')).run(options))),
  );

program
  .command('check')
  .description('validate a configuration with its certificates, keys and references')
  .addOption(config)
  .addOption(noKeys())
  .option('--strict', 'warnings are faults: exit with 1 if there is any')
  .addOption(storedOption)
  .option('--json', 'print JSON')
  .action((options) => finish(import('./check.ts').then(({ check }) => check(options))));

program
  .command('explain')
  .description('show which route a client takes, and what it and the upstream see')
  .addOption(config)
  .option('--listener <name>', 'where the client connects (default: the only listener)')
  .option('--sni <name>', 'the server name it asks for (default: none)')
  .option('--alpn <names...>', 'the protocols it offers')
  .option('--from <address>', 'its address; if a PROXY header is required, the address in the header')
  .option('--peer <address>', 'who sends the PROXY header')
  .option('--ja4 <fingerprint>', 'its fingerprint, as `penstock hello` or the log shows it')
  .option('--tls <versions>', 'the TLS versions it speaks, such as 1.2 or 1.2,1.3')
  .option('--client-cert <file>', 'the certificate it presents, PEM; `none`: it has none')
  .option('--plain', 'it speaks no TLS')
  .option(
    '--hello <file>',
    'what it actually sent, in any form that `penstock hello` reads; -: standard input',
  )
  .option('--log-line <file>', 'its line of the access log, as JSON; -: standard input')
  .addOption(noKeys())
  .addOption(storedOption)
  .option('--json', 'print JSON')
  .action((options) =>
    finish(
      import('../tools/explain/command.ts').then(({ explain }) =>
        explain({ ...options, load: loaderFor(options) }),
      ),
    ),
  );

program
  .command('test')
  .description('check a configuration against a file of expectations')
  .argument('<cases...>', 'YAML files: clients, and what should happen to each')
  .addOption(config)
  .addOption(noKeys())
  .option('--json', 'print JSON')
  .option('--junit', 'print JUnit XML')
  .addOption(storedOption)
  .action((cases, options) =>
    finish(
      import('../tools/expect/command.ts').then(({ test }) =>
        test(cases, { ...options, load: loaderFor(options) }),
      ),
    ),
  );

program
  .command('fmt')
  .description('lay out configurations in one way, with their comments; prints the result')
  .argument('[file...]', 'configurations; -: standard input (default: as for `check`)')
  .addOption(new Option('-w, --write', 'change the files').conflicts('check'))
  .option('--check', 'list the files that would change; exit with 1 if there are any')
  .action((files, options) =>
    finish(import('../tools/format/command.ts').then(({ format }) => format(files, options))),
  );

program
  .command('demo')
  .description('start a throw-away PKI, upstreams, and a listener for each mode; print commands to try')
  .option('--exit', 'stop after the first connections instead of continuing to serve')
  .option(
    '--port <n>',
    'the first of its ports: listeners from here, upstreams ten further on; others where these are taken',
    parseDemoPort,
    7001,
  )
  .option('--no-mysql', 'without the MySQL mode, which there is where MariaDB is installed')
  .action((options) => finish(import('../tools/demo/command.ts').then(({ demo }) => demo(options))));

addPkiCommand(program);
addClusterCommand(program, config, finish);
addImportCommand(
  program,
  (kind, files, options) =>
    finish(import('../tools/import/command.ts').then(({ importFiles }) => importFiles(kind, files, options))),
  (old, file, cases) =>
    finish(import('../tools/expect/difference.ts').then(({ diff }) => diff(old, file, cases))),
);

program
  .command('hello')
  .description('decode a ClientHello: SNI, ALPN, versions, ciphers, groups, JA4')
  .argument(
    '[source]',
    'a file: a capture (pcap, pcapng), TLS records, hex or base64; - for standard input; or HOST:PORT to listen on',
  )
  .option('-c, --config <file>', 'also show how the routes of this configuration treat each hello')
  .option('--listener <name>', 'with -c: only this listener’s routes')
  .option('--once', 'when listening: stop after the first client')
  .addOption(
    new Option(
      '--starttls <protocol>',
      'when listening: the protocol before TLS, if clients wait for the server to speak first',
    ).choices(protocolNames),
  )
  .option('--json', 'print JSON')
  .action((source, options) =>
    finish(import('../tools/hello/command.ts').then(({ hello }) => hello(source, options))),
  );

addProbeFlags(
  program
    .command('probe')
    .description('show what a TLS endpoint offers, and the upstream configuration that fits it'),
).action((target, options) =>
  finish(import('../tools/probe/command.ts').then(({ probe }) => probe(target, options))),
);

addPlaceOptions(
  program.command('top').description('watch a running penstock: rates, endpoints, errors, what expires'),
)
  .option('--once', 'print once, without rates')
  .action((options) => finish(import('../tools/top/command.ts').then(({ top }) => top(options))));

addControlCommands(program, (command) => finish(import('../tools/control/command.ts').then(command)));

addLoadFlags(
  program.command('load').description('load-test a TLS or TCP endpoint: rates, latencies, errors'),
).action((target, options) =>
  finish(import('../tools/load/command.ts').then(({ load }) => load(target, options))),
);

addUsageCommands(program, async (text) => {
  process.stdout.write(await text);
  await finish(Promise.resolve(0));
});

async function finish(code: Promise<number>): Promise<void> {
  const status = await code;
  await Promise.all([process.stdout, process.stderr].map(flushed));
  process.exit(status);
}

/**
 * A pipe holds 64 KiB; an exit would lose anything written beyond that. Resolves at once if the reader has
 * gone.
 */
function flushed(stream: NodeJS.WriteStream): Promise<void> | undefined {
  if (stream.writableLength === 0) return undefined;
  return new Promise((resolve) => {
    stream.once('error', () => resolve());
    stream.write('', () => resolve());
  });
}

function parseWorkers(text: string): number | 'auto' {
  if (text === 'auto') return text;
  if (!/^[1-9]\d{0,2}$/.test(text)) throw new InvalidArgumentError('expected auto or a number of processes.');
  return Number(text);
}

function parseDemoPort(text: string): number {
  const port = Number(text);
  if (/^\d{1,5}$/.test(text) && port >= 1 && port <= 65_500) return port;
  throw new InvalidArgumentError('expected a number from 1 to 65500.');
}

function parseLevel(text: string): string {
  if (!levels.some((level) => level === text))
    throw new InvalidArgumentError(`expected one of ${levels.join(', ')}.`);
  return text;
}

try {
  await program.parseAsync();
} catch (error) {
  if (!(error instanceof CommanderError)) throw error;
  // Help and version are answers; anything else is bad usage, which commander has already reported.
  process.exit(error.exitCode === 0 ? 0 : 2);
}
