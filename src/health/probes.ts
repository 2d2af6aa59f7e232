/** What a health check asks of an endpoint, by its type, and the checks of a whole configuration. */
import type { Socket } from 'node:net';
import type { Logger } from 'pino';
import type { LoadedConfig } from '../config/load.ts';
import type { UpstreamConfig, UpstreamTlsConfig } from '../config/schema/schema.ts';
import { originatorFor } from '../connection/outbound.ts';
import { systemCode } from '../errors.ts';
import { closeWith } from '../net/stream.ts';
import { Peek } from '../peek/peek.ts';
import { createDescriptors, type Descriptors } from '../process/descriptors.ts';
import { askForTls } from '../protocols/ask-for-tls.ts';
import type { Greeting } from '../protocols/protocol.ts';
import { type ProtocolName, protocolOf, protocols } from '../protocols/table.ts';
import { localHeader } from '../proxy-protocol/encode.ts';
import type { EndpointReport } from '../upstream/endpoint-state.ts';
import { createResolver } from '../upstream/resolve.ts';
import { createUpstream } from '../upstream/upstream.ts';
import type { Probe } from './check-once.ts';
import { createHealthChecker } from './checker.ts';
import { expecting, unexpected } from './expected-answer.ts';

export type HealthChecks = {
  /** Checks what this configuration asks for from now on. Endpoints that it has still keep what was found of them. */
  readonly update: (loaded: LoadedConfig) => void;
  /** What is known of every endpoint that is checked, in plain data. */
  readonly states: () => EndpointReport[];
  /** Ends all checks. */
  readonly close: () => void;
};

/**
 * The health checks of one configuration after another, to run in one process. `onChange` is given all that is known
 * whenever it has changed: whoever serves takes it over by `UpstreamRegistry.applyHealth`.
 */
export function createHealthChecks(options: {
  readonly logger: Logger;
  /** Absent: those of a process of which this is all. */
  readonly descriptors?: Descriptors;
  readonly onChange: (states: EndpointReport[]) => void;
}): HealthChecks {
  const resolver = createResolver();
  const checker = createHealthChecker({
    ...options,
    descriptors: options.descriptors ?? createDescriptors(),
  });
  return {
    states: checker.states,
    close: checker.close,
    update(loaded) {
      const checked = Object.entries(loaded.config.upstreams).filter(([, { health_check }]) => health_check);
      checker.update(
        checked.map(([name, config]) => ({
          upstream: createUpstream(name, config, resolver),
          probe: createProbe(name, config, loaded),
        })),
      );
    },
  };
}

type HealthCheck = NonNullable<UpstreamConfig['health_check']>;

/**
 * - `tcp`: it accepts connections.
 * - `tls`: a full handshake, by the upstream's own settings. Where it has none (clients are passed through to it), any
 *   certificate will do: that somebody speaks TLS is all that can be asked.
 * - a protocol: it answers as the protocol's own check wants it.
 * - `expect`: its answer to `send`, or what it says of itself, holds `expect`.
 *
 * The others go over TLS where the upstream has it. A PROXY header is sent ahead where clients' are: LOCAL, or UNKNOWN.
 */
function createProbe(name: string, config: UpstreamConfig, loaded: LoadedConfig): Probe {
  const check = config.health_check as HealthCheck; // only such upstreams are checked
  const tls = config.tls ?? (check.type === 'tls' ? unverified : undefined);
  const asked = protocolOf(tls?.starttls);
  const own = check.type in protocols ? protocols[check.type as ProtocolName].check : undefined;
  const originator = tls && check.type !== 'tcp' ? originatorFor(name, tls, loaded) : undefined;
  return async (raw, endpoint, signal) => {
    if (config.send_proxy_protocol) raw.write(localHeader(config.send_proxy_protocol.version));
    let stream = raw;
    let greeting: Greeting | undefined;
    if (originator) {
      greeting = asked && (await askForTls(asked, raw));
      const { label, host } = endpoint;
      const request = { host, endpoint: label, sni: undefined, fresh: true, signal };
      ({ stream } = await originator.connect(raw, request));
    }
    const lastWords = await own?.run(new Peek(stream, 'upstream'), greeting);
    if (check.type === 'expect') {
      // What it said before TLS is what it says of itself.
      if (greeting) stream.unshift(greeting);
      await expectAnswer(stream, check);
    }
    // A reset would be an error in the log of many a server, and a reason to lock us out for some.
    closeWith(stream, lastWords);
  };
}

const unverified: UpstreamTlsConfig = {
  authority: 'system',
  verify: 'none',
  min_version: 'TLSv1.2',
  max_version: 'TLSv1.3',
};

async function expectAnswer(stream: Socket, { send, expect = '' }: HealthCheck): Promise<void> {
  const peek = new Peek(stream, 'upstream');
  if (send !== undefined) stream.write(bytesOf(send));
  try {
    await peek.read(expecting(bytesOf(expect)));
  } catch (error) {
    throw systemCode(error) === 'ERR_UPSTREAM_CONNECT'
      ? unexpected('it closed, and had not said', error)
      : error;
  }
}

/** The bytes of texts in which the schema has made each byte a character. */
function bytesOf(text: string): Buffer {
  return Buffer.from(text, 'latin1');
}
