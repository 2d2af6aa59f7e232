/** Composes a run with what it sends before TLS, because the rooms do not know each other. */
import type { Socket } from 'node:net';
import { askForTls } from '../../protocols/ask-for-tls.ts';
import { protocolOf } from '../../protocols/table.ts';
import { encodeProxyHeader } from '../../proxy-protocol/encode.ts';
import type { Preamble } from './engine/link.ts';
import type { Plan } from './engine/plan.ts';
import { createRun, type Run } from './engine/run.ts';

/** Throws what `createSecureContext` throws for a faulty certificate or cipher list. */
export function composeRun(plan: Plan): Run {
  const protocol = protocolOf(plan.starttls);
  const preamble: Preamble = {
    proxyHeader: plan.proxyHeader && headerOf(plan.proxyHeader),
    askForTls: protocol && ((raw) => askForTls(protocol, raw, plan.tls?.names[0] ?? plan.tls?.host)),
  };
  return createRun(plan, preamble);
}

/** The header that a proxy in front of the target would write for this process as its client. */
function headerOf(version: 'v1' | 'v2') {
  return (raw: Socket): Buffer =>
    encodeProxyHeader(
      { version, tlvs: [] },
      {
        client: { address: raw.localAddress ?? 'unix', port: raw.localPort ?? 0 },
        local: { address: raw.remoteAddress ?? 'unix', port: raw.remotePort ?? 0 },
        uniqueId: '',
      },
    );
}
