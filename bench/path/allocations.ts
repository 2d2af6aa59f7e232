/**
 * What is allocated on V8's heap, by its sampling profiler, of which a sample is every object. (The counter `total_allocated_bytes`
 * counts whole buffers of some 200 KB, and what V8 compiles.)
 */
import { type HeapProfiler, Session } from 'node:inspector';
import type { Instrument } from './instruments.ts';
import { abridged, frameOf, ownOf } from './stacks.ts';

/** Bytes between samples, on average. With 1 nothing is left out. */
const samplingInterval = 1;

/** With what V8 has had since 2018 and the types lack: one sample for each object, with the place that made it. */
type Profile = {
  readonly head: Node;
  readonly samples: readonly { readonly size: number; readonly nodeId: number }[];
};
type Node = Omit<HeapProfiler.SamplingHeapProfileNode, 'children'> & {
  readonly id: number;
  readonly children: readonly Node[];
};

/** How many objects, and their bytes, whether they live or were collected meanwhile. */
export function heapUse(): Instrument {
  return sampled(({ head, samples }) => {
    const nodes = new Set(nodesOf(head).map(({ node }) => node.id));
    const counted = samples.filter(({ nodeId }) => nodes.has(nodeId));
    return {
      heap_objects: counted.length,
      heap_bytes: counted.reduce((sum, { size }) => sum + size, 0),
    };
  });
}

/** Bytes by the innermost function of the program's own that was running, and, after a tab, by stack. */
export function allocationSites(): Instrument {
  return sampled(({ head }) => {
    const sizes: Record<string, number> = {};
    for (const { node, frames } of nodesOf(head)) {
      const key = `${ownOf(frames) ?? 'Node'}\t${abridged(frames)}`;
      if (node.selfSize > 0) sizes[key] = (sizes[key] ?? 0) + node.selfSize;
    }
    return sizes;
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
        counts = read(profile as unknown as Profile);
      });
      session.disconnect();
      return counts;
    },
  };
}

type Place = { readonly node: Node; readonly frames: readonly string[] };

/** All places but the probe's own, each with its frames from the innermost on. */
function nodesOf(node: Node, callers: readonly string[] = []): readonly Place[] {
  const { functionName, url, lineNumber } = node.callFrame;
  if (url.includes(import.meta.dirname)) return [];
  const frames = [frameOf(functionName, url, lineNumber + 1), ...callers];
  return [{ node, frames }, ...node.children.flatMap((child) => nodesOf(child, frames))];
}
