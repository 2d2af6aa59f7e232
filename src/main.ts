#!/usr/bin/env node
/** The command line. */
import './guard.ts';
import { readFileSync } from 'node:fs';
import { Command, CommanderError, InvalidArgumentError } from 'commander';

const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
  version: string;
};

const levels = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'];

const program = new Command('penstock')
  .description('A Layer-4 TLS-over-TCP stream proxy.')
  .version(version)
  .exitOverride()
  .configureHelp({ showGlobalOptions: true });

program
  .command('run')
  .description('serve')
  .option(
    '-c, --config <file>',
    'the configuration (default: ./penstock.yaml, then /etc/penstock/penstock.yaml)',
  )
  .option('--workers <n>', 'processes that share the listeners; overrides the file', parseWorkers)
  .option('--log-level <level>', `one of ${levels.join(', ')}; overrides the file`, parseLevel)
  .action((options) => finish(import('./commands/run.ts').then(({ run }) => run(options))));

program
  .command('check')
  .description('validate a configuration with its certificates, keys and references')
  .option(
    '-c, --config <file>',
    'the configuration (default: ./penstock.yaml, then /etc/penstock/penstock.yaml)',
  )
  .option('--json', 'print JSON')
  .action((options) => finish(import('./commands/check.ts').then(({ check }) => check(options))));

program
  .command('demo')
  .description('run a throw-away PKI, upstreams, and a listener for each mode; print what to try')
  .option('--exit', 'stop after the first connections, instead of serving on')
  .action((options) => finish(import('./commands/demo.ts').then(({ demo }) => demo(options))));

async function finish(code: Promise<number>): Promise<void> {
  process.exit(await code);
}

function parseWorkers(text: string): number | 'auto' {
  if (text === 'auto') return text;
  if (!/^[1-9]\d{0,2}$/.test(text)) throw new InvalidArgumentError('expected auto or a number of processes.');
  return Number(text);
}

function parseLevel(text: string): string {
  if (!levels.includes(text)) throw new InvalidArgumentError(`expected one of ${levels.join(', ')}.`);
  return text;
}

try {
  await program.parseAsync();
} catch (error) {
  if (!(error instanceof CommanderError)) throw error;
  // Help and version are answers; anything else is bad usage, told by commander already.
  process.exit(error.exitCode === 0 ? 0 : 2);
}
