/** The command line of `penstock import`; its implementation is loaded only when needed. */
import type { Command } from 'commander';

export type ImportKind = 'apisix' | 'haproxy' | 'nginx';

export type ImportOptions = {
  /** Default: stdout. */
  readonly output?: string;
  /** A directory for certificates and keys that the configuration itself contains. */
  readonly certificates?: string;
  readonly strict?: boolean;
};

/** Adds `import apisix` and its like. */
export function addImportCommand(
  program: Command,
  run: (kind: ImportKind, files: readonly string[], options: ImportOptions) => Promise<void>,
): void {
  const command = program
    .command('import')
    .description('convert the configuration of another proxy, and report what could not be carried over');
  const add = (kind: ImportKind, description: string, file: string): Command =>
    command
      .command(kind)
      .description(description)
      .argument('<file...>', file)
      .option('-o, --output <file>', 'where to write the configuration (default: stdout)')
      .option('--strict', 'exit with 1 if something was not carried over')
      .action((files: string[], options: ImportOptions) => run(kind, files, options));
  add(
    'apisix',
    'from stream_routes, upstreams and ssls',
    'apisix.yaml, JSON from the Admin API, and config.yaml, which says where APISIX listens; - for standard input',
  ).option(
    '--certificates <dir>',
    'where to write the certificates and keys they contain (default: nowhere)',
  );
  add(
    'haproxy',
    'from frontends and backends in TCP mode',
    'haproxy.cfg; several are read as one; - for standard input',
  );
  add(
    'nginx',
    'from the stream block',
    'nginx.conf, with what it includes, or a file from within stream; - for standard input',
  );
}
