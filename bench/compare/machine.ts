/** Where and when a comparison was made. */
import { execFileSync } from 'node:child_process';
import { cpus, release, totalmem } from 'node:os';

export type Machine = {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGiB: number;
  readonly kernel: string;
  readonly virtual: string;
  readonly openFiles: number;
};

export function describeMachine(): Machine {
  return {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: cpus().length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    virtual: hypervisor(),
    openFiles: Number(execFileSync('/bin/sh', ['-c', 'ulimit -n'], { encoding: 'utf8' })),
  };
}

/** Its kind, or `none`. */
function hypervisor(): string {
  try {
    return /Hypervisor vendor:\s*(.+)/.exec(execFileSync('lscpu', { encoding: 'utf8' }))?.[1] ?? 'none';
  } catch {
    return 'unknown';
  }
}
