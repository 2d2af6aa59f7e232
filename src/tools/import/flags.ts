/** The command line of `penstock import`; its implementation is loaded only when needed. */
import type { Command } from 'commander';

export type ImportKind = 'apisix' | 'haproxy' | 'nginx' | 'traefik';

export type ImportOptions = {
  /** Default: stdout. */
  readonly output?: string;
  /** A directory for certificates and keys that the configuration itself contains. */
  readonly certificates?: string;
  readonly strict?: boolean;
  /** Replaces files that are there. */
  readonly force?: boolean;
};

/** Adds `import apisix` and its like. */
export function addImportCommand(
  program: Command,
  run: (kind: ImportKind, files: readonly string[], options: ImportOptions) => Promise<void>,
  diff: (old: string, file: string, cases: string) => Promise<void>,
): void {
  const command = program
    .command('import')
    .description('convert the configuration of another proxy, and report what could not be carried over')
    .argument('[config]', 'with --diff: the configuration of penstock')
    .option(
      '--diff <old>',
      'tell which clients get another outcome than from this configuration of the other proxy',
    )
    .option('--cases <file>', 'with --diff: the clients, as in the files of `penstock test`')
    .action((file: string | undefined, { diff: old, cases }: { diff?: string; cases?: string }) => {
      if (old !== undefined && cases !== undefined && file !== undefined) return diff(old, file, cases);
      const kinds = command.commands.map((one) => one.name()).join(', ');
      return command.error(`error: expected one of ${kinds}, or --diff OLD penstock.yaml --cases FILE`);
    });
  const add = (kind: ImportKind, description: string, file: string): Command =>
    command
      .command(kind)
      .description(description)
      .argument('<file...>', file)
      .option('-o, --output <file>', 'where to write the configuration (default: stdout)')
      .option('--force', 'replace files that are there already')
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
  add(
    'traefik',
    'from TCP routers, services and TLS options of the file provider',
    'files of the file provider and the static configuration, YAML or TOML; - for standard input',
  ).option(
    '--certificates <dir>',
    'where to write certificates and keys that they contain (default: nowhere)',
  );
}
