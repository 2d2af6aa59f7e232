/** The messages between the processes of one load. */
import type { Plan } from './engine/plan.ts';
import type { Progress } from './engine/run.ts';
import type { ProcessResult } from './engine/tally.ts';

export type ToChild =
  | { readonly kind: 'plan'; readonly plan: Plan }
  | { readonly kind: 'start' }
  | { readonly kind: 'stop' };

export type FromChild =
  | { readonly kind: 'ready'; readonly notes: readonly string[] }
  | { readonly kind: 'progress'; readonly progress: Progress }
  | { readonly kind: 'result'; readonly result: ProcessResult };
