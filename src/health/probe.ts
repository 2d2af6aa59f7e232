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
import type { HealthCheck } from './checks/check.ts';
import { checks } from './checks/table.ts';

/** For an upstream that has a `health_check`. Its PROXY headers say LOCAL, or UNKNOWN. */
export function createProbe(name: string, config: UpstreamConfig, loaded: LoadedConfig): Probe {
  const settings = config.health_check as HealthCheck; // only such upstreams are checked
  const check = checks[settings.type](settings);
  const tls =
    check.tls === 'never' ? undefined : (config.tls ?? (check.tls === 'always' ? unverified : undefined));
  const asked = protocolOf(tls?.starttls);
  const originator = tls && originatorFor(name, tls, loaded);
  return async (raw, endpoint, signal) => {
    if (config.send_proxy_protocol) raw.write(localHeader(config.send_proxy_protocol.version));
    const { host } = endpoint;
    let stream = raw;
    let greeting: Greeting | undefined;
    if (originator) {
      const { label } = endpoint;
      const answer = asked && (await askForTls(asked, raw, originator.nameOf(host)));
      greeting = answer?.greeting;
      const request = { host, endpoint: label, sni: undefined, over: answer?.socket, fresh: true, signal };
      ({ stream } = await originator.connect(raw, request));
    }
    const lastWords = await check.ask?.(stream, greeting, originator ? originator.nameOf(host) : host);
    // Not a reset: many servers would log it as an error, and some would lock us out for it.
    closeWith(stream, lastWords);
  };
}

const unverified: UpstreamTlsConfig = {
  authority: 'system',
  verify: 'none',
  min_version: 'TLSv1.2',
  max_version: 'TLSv1.3',
};
