/** `penstock completion` and `penstock man`. */
import type { Command } from 'commander';
import { version } from '../../process/version.ts';
import { completionFor } from './completion.ts';
import type { Shell } from './flags.ts';
import { manualOf } from './man.ts';
import { shapeOf } from './shape.ts';

export function completion(shell: Shell, program: Command): string {
  return completionFor(shell, shapeOf(program));
}

export function manual(program: Command): string {
  return manualOf(shapeOf(program), version);
}
