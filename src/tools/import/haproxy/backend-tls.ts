/** Converts how servers are reached by TLS, for clients and for checks. */
import type { Notes } from '../notes.ts';
import type { CheckedTls } from './checks.ts';
import type { PemFiles } from './files.ts';
import type { Server } from './servers.ts';
import { type Options, tlsParameters } from './tls.ts';

/** How clients connect, as far as it affects the upstream. */
export type Approach = {
  readonly kind: 'terminated' | 'passthrough' | 'off';
  /** Whether they ask for no name, so that there is none to pass on. */
  readonly isNameless?: boolean;
  /** The ports they may have connected to. */
  readonly ports: readonly number[];
};

/** What `global` says of all servers. */
export type ServerDefaults = { readonly options: Options; readonly verifiesNothing: boolean };

export type TlsTools = { readonly files: PemFiles; readonly defaults: ServerDefaults; readonly notes: Notes };

/** The `tls` of an upstream with these servers, whose first has the settings of all. */
export function upstreamTls(
  first: Server,
  servers: readonly Server[],
  { kind, isNameless = false }: Approach,
  { files, defaults, notes }: TlsTools,
): CheckedTls {
  const options: Options = new Map([...defaults.options, ...first.options]);
  const value = (option: string) => options.get(option)?.value;
  const crt = options.get('crt');
  const common = {
    ...tlsParameters(options, notes),
    ...(crt && { certificate: files.certificate(crt.value, crt.line) }),
  };
  const sent = sniName(options, kind === 'terminated' && !isNameless, notes);
  if ((value('verify') ?? (defaults.verifiesNothing ? 'none' : 'required')) === 'none') {
    const message = 'HAProxy verifies nothing of this server, so `verify: none`: anyone can pass for it';
    notes.look(
      first.line,
      `server ${first.name}: verify none`,
      message,
      'give ca-file, or `pins` with `verify: pin`',
    );
    return { ...(sent !== undefined && { server_name: sent }), verify: 'none', ...common };
  }
  const ca = value('ca-file');
  const authority = files.authority('servers', [ca ?? '@system-ca'], value('crl-file'));
  const trust = authority === 'system' ? {} : { authority };
  const verified = sent ?? value('verifyhost');
  if (verified !== undefined) return { server_name: verified, ...trust, ...common };
  const names = servers.map(({ name }) => name).join(', ');
  const message =
    'without sni or verifyhost HAProxy takes any certificate of that authority, so `verify: ca`';
  notes.look(first.line, `server ${names}: verify required`, message, 'set `server_name` and `verify: full`');
  return { ...trust, verify: 'ca', ...common };
}

/** For a check, which has no client: neither its name nor its protocols. */
export function checkTls(server: Server, name: string | undefined, tools: TlsTools): CheckedTls {
  const { options } = server;
  const sni = name === undefined ? options.get('sni') : { value: `str(${name})`, line: server.line };
  const own = new Map([...options].filter(([option]) => option !== 'sni' && option !== 'alpn'));
  if (sni?.value.startsWith('str(')) own.set('sni', sni);
  return upstreamTls({ ...server, options: own }, [server], { kind: 'off', ports: [] }, tools);
}

/** The name to send, which is then also verified; `{sni}` is the client's. */
function sniName(options: Options, hasName: boolean, notes: Notes): string | undefined {
  const sni = options.get('sni');
  if (sni === undefined) return undefined;
  const fixed = /^str\((.+)\)$/.exec(sni.value)?.[1];
  if (fixed !== undefined) return fixed;
  // Without a name of the client's HAProxy sends none, and verifies none.
  if (/^ssl_fc_sni(,lower)?$/.test(sni.value)) return hasName ? '{sni}' : undefined;
  if (/^req[._]ssl_sni(,lower)?$/.test(sni.value)) return undefined;
  notes.notCarried(
    sni.line,
    `sni ${sni.value}`,
    'penstock sends only a fixed name, or the one that the client asked for',
  );
  return undefined;
}
