/** What logs and metrics by OTLP have in common. */
import { hostname } from 'node:os';
import type { OtlpConfig } from '../config/schema/schema.ts';
import { systemCode } from '../errors.ts';
import { version } from '../process/version.ts';

/** OTLP over HTTP with JSON: the path of each signal is below the endpoint. */
export function signalUrl({ endpoint }: OtlpConfig, signal: 'logs' | 'metrics'): string {
  return `${endpoint.replace(/\/+$/, '')}/v1/${signal}`;
}

/** By OpenTelemetry's semantic conventions; what is configured wins. */
export function describeResource({ resource }: OtlpConfig): Record<string, string | number> {
  return {
    'service.name': 'penstock',
    'service.version': version,
    'host.name': hostname(),
    'process.pid': process.pid,
    ...resource,
  };
}

/** These packages are no part of penstock's. */
export async function importOptional<T>(name: string, load: () => Promise<T>): Promise<T> {
  try {
    return await load();
  } catch (cause) {
    if (!['ERR_MODULE_NOT_FOUND', 'MODULE_NOT_FOUND'].includes(systemCode(cause))) throw cause;
    throw new Error(
      `otlp needs the package ${name}: install it beside penstock (docs/operations.md, OpenTelemetry)`,
      { cause },
    );
  }
}
