/** The flags of `penstock probe`, for commander. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import { type ProtocolName, protocolNames } from '../../protocols/table.ts';

export type ProbeFlags = {
  readonly sni?: string;
  readonly starttls?: ProtocolName;
  readonly ca: string;
  readonly cert?: string;
  readonly key?: string;
  readonly alpn?: readonly string[];
  /** Milliseconds. */
  readonly timeout: number;
  readonly connections: number;
  readonly json?: boolean;
  readonly yaml?: boolean;
};

/** Adds the argument and the flags to the command. */
export function addProbeFlags(command: Command): Command {
  return command
    .argument('<target>', 'host:port, [v6]:port or unix:/path')
    .option('--starttls <protocol>', `before TLS; ${protocolNames.join(', ')}`, parseStarttls)
    .option('--sni <name>', 'server name to ask for, and to verify (default: the host of TARGET)')
    .option('--ca <file>', 'CA certificates to trust (PEM), or `system`', 'system')
    .option('--cert <file>', 'client certificate with its chain (PEM)')
    .option('--key <file>', 'its key (PEM)')
    .option('--alpn <names...>', 'ALPN protocols to offer')
    .addOption(
      new Option('--timeout <d>', 'time limit for each connection')
        .argParser(parseTimeout)
        .default(5000, '5s'),
    )
    .option('--connections <n>', 'maximum number of connections, one at a time', parseConnections, 50)
    .addOption(new Option('--json', 'print JSON').conflicts('yaml'))
    .option('--yaml', 'print a configuration with a matching upstream');
}

function parseStarttls(text: string): ProtocolName {
  const name = protocolNames.find((known) => known === text);
  if (name === undefined) throw new InvalidArgumentError(`expected ${protocolNames.join(' or ')}.`);
  return name;
}

function parseTimeout(text: string): number {
  const [, number, unit] = /^(\d{1,5})(ms|s)$/.exec(text) ?? [];
  const ms = Number(number) * (unit === 's' ? 1000 : 1);
  if (!(ms >= 50 && ms <= 60_000)) throw new InvalidArgumentError('expected 50ms to 60s.');
  return ms;
}

function parseConnections(text: string): number {
  if (!/^\d{1,3}$/.test(text) || Number(text) < 1 || Number(text) > 100) {
    throw new InvalidArgumentError('expected 1 to 100: this is a probe, not a load test.');
  }
  return Number(text);
}
