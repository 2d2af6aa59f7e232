/** Decides who may connect to a listener, and whose PROXY headers it trusts. */
import type { Rule } from '../decision.ts';
import { addressLists, cidrsOf, everywhere, isEverywhere, isNowhere, type Networks } from '../networks.ts';
import { createConditions } from './conditions.ts';
import type { FrontendParts, Listening } from './listening.ts';
import { admitted, type RuleTarget } from './rules.ts';

/**
 * Connection rules that ask only for addresses become admission; with PROXY headers they apply to the peer.
 * `isDone` means that none of them is left for the routes.
 */
export function admissionOf(
  listening: Listening,
  parts: FrontendParts,
): { options: object; isDone: boolean } {
  const { bind, rules } = listening;
  const { notes } = parts;
  const peers = admitted(rules.connection);
  const proxied = bind.acceptsProxyHeader ? bind.line : rules.proxied[0];
  if (listening.onlyIpv6) {
    notes.look(bind.line, 'v6only', 'IPv4 is bound as well here, and such clients are refused');
  }
  const v6only = listening.onlyIpv6 ? { allow: ['::/0'] } : {};
  if (proxied === undefined) {
    if (peers === undefined) return { options: v6only, isDone: false };
    return { options: addressLists(listening.onlyIpv6 ? { ...peers, v4: [] } : peers), isDone: true };
  }
  if (peers === undefined) {
    const message =
      'penstock cannot combine PROXY headers with connection rules that ask for more than addresses';
    notes.notCarried(proxied, proxied.text, message, 'they apply to the client that the header names');
  }
  const from = trusted(listening, peers, parts);
  const isDone = peers !== undefined;
  // Peers on a unix socket have no address that a rule could exclude.
  const isUnix = (address: string) => address.startsWith('unix:');
  const unix = bind.addresses.some(isUnix) ? ['unix'] : [];
  const cidrs = bind.addresses.every(isUnix) ? [] : cidrsOf(from);
  if (isNowhere(from)) return { options: { deny: cidrsOf(everywhere) }, isDone };
  return { options: { accept_proxy_protocol: { from: [...unix, ...cidrs] }, ...v6only }, isDone };
}

/** The peers whose headers are trusted; all others are refused. */
function trusted(
  { bind, proxy, rules }: Listening,
  peers: Networks | undefined,
  parts: FrontendParts,
): Networks {
  const { notes, surroundings } = parts;
  const anyone: Networks = peers ?? { v4: [''], v6: [''] };
  if (bind.acceptsProxyHeader) {
    if (isEverywhere(anyone)) {
      const message = 'whoever reaches this port can claim to be any client, as in HAProxy';
      notes.look(
        bind.line,
        'accept-proxy',
        message,
        'name your load balancers in accept_proxy_protocol.from',
      );
    }
    return anyone;
  }
  const { of } = createConditions(proxy.every('acl'), notes, surroundings);
  const expecting: Rule<RuleTarget>[] = rules.proxied.flatMap((line) => {
    const at = line.words.findIndex((word) => word === 'if' || word === 'unless');
    const alternatives = of(at === -1 ? [] : line.words.slice(at), line);
    return alternatives.map((when) => ({
      when,
      action: { kind: 'next' as const },
      place: line,
      text: line.text,
    }));
  });
  const [line] = rules.proxied;
  if (line) notes.look(line, line.text, 'peers that do not send a PROXY header are refused here');
  const rest: Rule<RuleTarget> = { when: [], action: { kind: 'deny' }, place: bind.line, text: '' };
  return admitted([...expecting, rest]) ?? anyone;
}
