/** The health checks of a whole configuration. */
import type { Logger } from 'pino';
import type { LoadedConfig } from '../config/load.ts';
import { createDescriptors, type Descriptors } from '../process/descriptors.ts';
import type { EndpointReport } from '../upstream/endpoint-state.ts';
import { createResolver } from '../upstream/resolve.ts';
import { createUpstream } from '../upstream/upstream.ts';
import { createHealthChecker } from './checker.ts';
import { createProbe } from './probe.ts';

export type HealthChecks = {
  /** From now on makes the checks of this configuration. Endpoints that it still has keep their results. */
  readonly update: (loaded: LoadedConfig) => void;
  /** What is known about every endpoint that is checked, as plain data. */
  readonly states: () => EndpointReport[];
  /** Ends all checks. */
  readonly close: () => void;
};

/**
 * The health checks of one configuration after another, for one process. `onChange` gets everything that is
 * known whenever it changes; serving processes take it over with `UpstreamRegistry.applyHealth`.
 */
export function createHealthChecks(options: {
  readonly logger: Logger;
  /** By default, health checks have the process's descriptors to themselves. */
  readonly descriptors?: Descriptors;
  readonly onChange: (states: EndpointReport[]) => void;
}): HealthChecks {
  const resolver = createResolver({ logger: options.logger });
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
