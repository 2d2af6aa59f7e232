/**
 * Tunes V8's garbage collector; imported first by processes with many short connections. V8 pretenures
 * allocation sites whose objects tend to survive, that is, allocates them in the old generation. Bursts of
 * connections mislead it: dead objects in the old generation then keep whole connections alive in the young
 * one, and each minor collection takes 15 ms instead of 1. `node --trace-gc` under many plain connections
 * shows it: see "How dead connections were kept" in docs/performance.md.
 */
import { setFlagsFromString } from 'node:v8';

// Bun has a different collector.
if (!('bun' in process.versions)) setFlagsFromString('--no-allocation-site-pretenuring');
