/**
 * From a connection to an endpoint to the answer of its check: first PROXY header,
 * STARTTLS and TLS, as for clients.
 */
import type { LoadedConfig } from '../config/load.ts';
import type { UpstreamConfig, UpstreamTlsConfig } from '../config/schema/schema.ts';
import { originatorFor } from '../connection/outbound.ts';
import { closeWith } from '../net/stream.ts';
import { askForTls } from '../protocols/ask-for-tls.ts';
import type { Greeting } from '../protocols/protocol.ts';
import { protocolOf } from '../protocols/table.ts';
import { localHeader } from '../proxy-protocol/encode.ts';
import type { Probe } from './check-once.ts';
import { isCheckedElsewhere } from './checked-at.ts';
import type { Check, HealthCheck } from './checks/check.ts';
import { checks } from './checks/table.ts';

/**
 * For an upstream that has a `health_check`. Its PROXY headers say LOCAL, or UNKNOWN, and go only where those
 * of clients go.
 */
export function createProbe(name: string, config: UpstreamConfig, loaded: LoadedConfig): Probe {
  const settings = config.health_check as HealthCheck; // only such upstreams are checked
  const check = checks[settings.type](settings);
  const tls = tlsOf(check, config);
  const asked = protocolOf(tls?.starttls);
  const setting = settings.tls === undefined ? name : `${name}.health_check`;
  const originator = tls && originatorFor(setting, tls, loaded);
  const header = isCheckedElsewhere(config) ? undefined : config.send_proxy_protocol;
  return async (raw, { host, label, target }, signal) => {
    if (header) raw.write(localHeader(header.version));
    let stream = raw;
    let greeting: Greeting | undefined;
    if (originator) {
      const answer = asked && (await askForTls(asked, raw, originator.nameOf(host)));
      greeting = answer?.greeting;
      const request = { host, endpoint: label, sni: undefined, over: answer?.socket, fresh: true, signal };
      ({ stream } = await originator.connect(raw, request));
    }
    const own = originator ? originator.nameOf(host) : host;
    const port = 'path' in target ? undefined : target.port;
    const lastWords = await check.ask?.(stream, { greeting, name: own, port });
    // Not a reset: many servers would log it as an error, and some would lock us out for it.
    closeWith(stream, lastWords);
  };
}

/** The check's own settings, else those of clients if it goes where they go. */
function tlsOf({ tls, speaksItsOwn }: Check, config: UpstreamConfig): UpstreamTlsConfig | undefined {
  const own = config.health_check?.tls;
  if (tls === 'never' || own === 'off') return undefined;
  if (own !== undefined) return own;
  const inherited = isCheckedElsewhere(config) ? undefined : config.tls;
  if (inherited === undefined) return tls === 'always' ? unverified : undefined;
  return speaksItsOwn ? { ...inherited, alpn: undefined } : inherited;
}

const unverified: UpstreamTlsConfig = {
  authority: 'system',
  verify: 'none',
  min_version: 'TLSv1.2',
  max_version: 'TLSv1.3',
};
