import { ProxyError } from '../errors.ts';

/** The faults that kept a worker from serving, one a line. */
export function describeStartFaults(error: unknown): string[] {
  const faults = error instanceof AggregateError ? error.errors : [error];
  return faults.map((fault) => {
    if (!(fault instanceof ProxyError)) return String((fault as Error)?.message ?? fault);
    return fault.hint ? `${fault.message}; ${fault.hint}` : fault.message;
  });
}
