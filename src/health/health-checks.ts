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
