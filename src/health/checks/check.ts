/** What one type of health check asks of an endpoint. */
import type { Socket } from 'node:net';
import type { UpstreamConfig } from '../../config/schema/schema.ts';
import type { Greeting } from '../../protocols/protocol.ts';

export type HealthCheck = NonNullable<UpstreamConfig['health_check']>;

/** What is known of an endpoint when its answer is asked for. */
export type Asked = {
  /** What the server said when it was asked for TLS, if it was. */
  readonly greeting: Greeting | undefined;
  /** Its own name, if that is known. */
  readonly name: string | undefined;
  /** undefined for a unix socket. */
  readonly port: number | undefined;
};

export type Check = {
  /** Whether to start TLS first: never, if the upstream has it, or always. */
  readonly tls: 'never' | 'configured' | 'always';
  /** Whether it speaks a protocol of its own, for which the ALPN of clients would be wrong. */
  readonly speaksItsOwn?: true;
  /**
   * Asks over a connection that is ready for it; throws why the endpoint is not healthy. Resolves with what
   * to say before closing. Absent: having come this far is enough.
   */
  readonly ask?: (stream: Socket, asked: Asked) => Promise<Buffer | undefined>;
};
