/**
 * The types of health checks. To add one: a file, a line here, and its name in the
 * schema; the compiler compares them.
 */
import type { Check, HealthCheck } from './check.ts';
import { expect } from './expect.ts';
import { http } from './http.ts';
import { ownChecks } from './own.ts';
import { tcp } from './tcp.ts';
import { tls } from './tls.ts';

export const checks: Readonly<Record<HealthCheck['type'], (settings: HealthCheck) => Check>> = {
  tcp,
  tls,
  ...ownChecks,
  expect,
  http,
};
