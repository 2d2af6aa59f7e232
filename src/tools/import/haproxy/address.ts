/** Converts the addresses of `bind` and `server` lines. */
import type { Notes } from '../notes.ts';
import type { Line } from './syntax.ts';

type BoundAddress = { readonly text: string; readonly port: number | undefined };

/**
 * One address of a `bind` line, or each port of its range; none, with a note, if penstock has no such
 * address.
 */
export function addressOf(text: string, line: Line, notes: Notes): BoundAddress[] {
  const lost = (why: string) => {
    notes.notCarried(line, `bind ${text}`, why);
    return [];
  };
  const path = socketPath(text);
  if (path !== undefined) return [{ text: `unix:${path}`, port: undefined }];
  if (/^(abns|fd|sockpair|udp|quic[46]|uxdg|uxst|abnsz|rev|mptcp)\S*@/.test(text))
    return lost('penstock has no such addresses');
  const [, host = '', first = '', last] =
    /^(?:ipv[46]@)?(.*?):(\d+|\uE000[^\uE001]*\uE001)(?:-(\d+))?$/.exec(text) ?? [];
  if (first === '') return lost('it has no port');
  const bare = host.replace(/^\[|\]$/g, '');
  const isIpv6 = text.startsWith('ipv6@');
  // HAProxy's `*` is only IPv4, while penstock's `:443` is both.
  const shown =
    bare === '' || bare === '*' ? (isIpv6 ? '[::]' : '0.0.0.0') : isIpv6Address(bare) ? `[${bare}]` : bare;
  if (!/^\d+$/.test(first)) return [{ text: `${shown}:${first}`, port: undefined }];
  const count = Number(last ?? first) - Number(first) + 1;
  if (count < 1 || count > 1000 || Number(last ?? first) > 65535) {
    return lost('expected 1 to 1000 ports up to 65535');
  }
  return Array.from({ length: count }, (_, index) => {
    const port = Number(first) + index;
    return { text: `${shown}:${port}`, port };
  });
}

/**
 * The address of a server, as penstock dials it, or a reason if there is none. Without a port it uses the
 * port that the client reached.
 */
export function dialAddressOf(
  text: string,
  reached: readonly number[],
): { address: string } | { reason: string } {
  const path = socketPath(text);
  if (path !== undefined) return { address: `unix:${path}` };
  if (/^(abns|fd|sockpair|udp|quic[46]|rhttp|rev|mptcp)\S*@/.test(text))
    return { reason: 'penstock has no such addresses' };
  const bare = text.replace(/^ipv[46]@/, '');
  const [, named, port] = /^(.*):([+-]?\d+|\uE000[^\uE001]*\uE001)?$/.exec(bare) ?? [];
  const host = (named ?? bare).replace(/^\[|\]$/g, '');
  if (['', '*', '0.0.0.0', '::'].includes(host))
    return { reason: 'penstock does not dial the address that the client meant' };
  const shown = isIpv6Address(host) ? `[${host}]` : host;
  if (port !== undefined && !/^[+-]/.test(port)) return dialled(shown, port);
  const [only, ...more] = reached;
  if (only === undefined || more.length > 0) return { reason: 'its port is the one that the client reached' };
  return dialled(shown, String(only + Number(port ?? 0)));
}

function dialled(host: string, port: string): { address: string } | { reason: string } {
  const isPort = port.startsWith('\uE000') || (Number(port) >= 1 && Number(port) <= 65535);
  return isPort ? { address: `${host}:${port}` } : { reason: 'it has no port from 1 to 65535' };
}

function socketPath(text: string): string | undefined {
  if (text.startsWith('/')) return text;
  return text.startsWith('unix@') ? text.slice('unix@'.length) : undefined;
}

/** Colons within a variable's default do not belong to an address. */
function isIpv6Address(host: string): boolean {
  return host.replace(/\uE000[^\uE001]*\uE001/g, '').includes(':');
}
