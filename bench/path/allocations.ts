/**
 * What is allocated on V8's heap, by its sampling profiler, of which a sample is every object. (The counter `total_allocated_bytes`
 * counts whole buffers of some 200 KB, and what V8 compiles.)
 */
import { type HeapProfiler, Session } from 'node:inspector';
import type { Instrument } from './instruments.ts';
import { abridged, frameOf } from './stacks.ts';

/** Bytes between samples, on average. With 1 nothing is left out. */
const samplingInterval = 1;

/** As V8 has it since 2018; the types lack the second. */
type Profile = HeapProfiler.SamplingHeapProfile & { readonly samples: readonly { readonly size: number }[] };

/** How many objects, and their bytes, whether they live or were collected meanwhile. */
export function heapUse(): Instrument {
  return sampled(({ samples }) => ({
    heap_objects: samples.length,
    heap_bytes: samples.reduce((sum, { size }) => sum + size, 0),
  }));
}

/** Bytes by stack. */
export function allocationSites(): Instrument {
  return sampled(({ head }) => {
    const sizes = new Map<string, number>();
    addSizes(head, [], sizes);
    return Object.fromEntries(sizes);
  });
}

function sampled(read: (profile: Profile) => Record<string, number>): Instrument {
  const session = new Session();
  return {
    begin() {
      session.connect();
      session.post('HeapProfiler.startSampling', {
        samplingInterval,
        includeObjectsCollectedByMajorGC: true,
        includeObjectsCollectedByMinorGC: true,
      } as HeapProfiler.StartSamplingParameterType);
    },
    end() {
      let counts = {};
      // A session within its own thread answers at once.
      session.post('HeapProfiler.stopSampling', (error, { profile }) => {
        if (error) throw error;
        counts = read(profile as Profile);
      });
      session.disconnect();
      return counts;
    },
  };
}

function addSizes(
  node: HeapProfiler.SamplingHeapProfileNode,
  callers: readonly string[],
  sizes: Map<string, number>,
): void {
  const { functionName, url, lineNumber } = node.callFrame;
  const frames = [frameOf(functionName, url, lineNumber + 1), ...callers];
  if (node.selfSize > 0) {
    const key = abridged(frames);
    sizes.set(key, (sizes.get(key) ?? 0) + node.selfSize);
  }
  for (const child of node.children) addSizes(child, frames, sizes);
}
