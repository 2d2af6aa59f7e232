/** What the admin endpoint needs to know, and whom it asks. */
import type { Commands } from './commands.ts';
import type { Status } from './status.ts';

/** Where the endpoint gets its answers. A rejection is answered with 500. */
export type AdminSource = {
  /** Prometheus' text format. */
  readonly metrics: () => Promise<string>;
  /** 503 makes an orchestrator restart us. */
  readonly healthy: () => boolean;
  /** 503 makes load balancers send us no clients. */
  readonly ready: () => boolean;
  readonly status: () => Status | Promise<Status>;
  readonly reload: () => Promise<ReloadResult>;
  readonly commands: Commands;
  /** Called with each error that was answered with 500. */
  readonly failed?: ((error: unknown) => void) | undefined;
};

export type ReloadResult = {
  readonly ok: boolean;
  readonly faults: readonly string[];
  /** Those of what is served from now on, as `check` prints them; absent if it failed. */
  readonly warnings?: readonly string[];
  /** What was read. */
  readonly file?: string;
};
