/** What one type of health check asks of an endpoint. */
import type { Socket } from 'node:net';
import type { UpstreamConfig } from '../../config/schema/schema.ts';
import type { Greeting } from '../../protocols/protocol.ts';

export type HealthCheck = NonNullable<UpstreamConfig['health_check']>;

export type Check = {
  /** Whether to start TLS first: never, if the upstream has it, or always. */
  readonly tls: 'never' | 'configured' | 'always';
  /**
   * Asks over a connection that is ready for it; throws why the endpoint is not healthy. `greeting` is what
   * the server said when it was asked for TLS, if it was, and `name` its own, if that is known. Resolves with
   * what to say before closing. Absent: having come this far is enough.
   */
  readonly ask?: (
    stream: Socket,
    greeting: Greeting | undefined,
    name: string | undefined,
  ) => Promise<Buffer | undefined>;
};
