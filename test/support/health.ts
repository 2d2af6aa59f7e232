/** Health checks of a configuration, as the process that makes them has them. */
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { stringify } from 'yaml';
import { createHealthChecks } from '../../src/health/health-checks.ts';
import { createLogger } from '../../src/observe/log.ts';
import type { EndpointReport } from '../../src/upstream/endpoint-state.ts';
import { load } from './configuration.ts';
import { eventually } from './eventually.ts';

export type Checks = {
  readonly states: () => readonly EndpointReport[];
  /** The report of one endpoint, once it fits. */
  readonly report: (endpoint: string, fits: (report: EndpointReport) => boolean) => Promise<EndpointReport>;
  readonly update: (upstream: object) => Promise<void>;
};

/** Checks one upstream until the test ends. `sections` are further ones of the configuration, `files` those it names. */
export async function checksOf(
  t: Pick<TestContext, 'after'>,
  upstream: object,
  { sections = {}, files = {} }: { sections?: object; files?: Record<string, string> } = {},
): Promise<Checks> {
  const logger = createLogger('silent', { write() {} });
  const checks = createHealthChecks({ logger, onChange() {} });
  t.after(checks.close);
  const update = async (next: object) => {
    const listeners = { none: { bind: '127.0.0.1:0', routes: [{ deny: true }] } };
    const text = stringify({ ...sections, listeners, upstreams: { orders: next } });
    const { loaded, faults } = await load(t, text, { files });
    assert.ok(loaded, faults.join('\n'));
    checks.update(loaded);
  };
  await update(upstream);
  return {
    update,
    states: checks.states,
    async report(endpoint, fits) {
      const find = () => checks.states().find((it) => it.endpoint === endpoint && fits(it));
      await eventually(() => assert.ok(find(), JSON.stringify(checks.states())));
      return find() as EndpointReport;
    },
  };
}

/** A check has gone well. */
export const passed = ({ up, checkMs }: EndpointReport): boolean => up && checkMs !== undefined;
export const isDown = ({ up }: EndpointReport): boolean => !up;
