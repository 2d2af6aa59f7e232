/**
 * Imported by processes of many short connections, before all else: how V8 is to collect its garbage. V8 guesses from who survives
 * where objects are made that live long, and makes those in the old generation. Connections mislead it, of which many begin
 * at once: dead objects of the old generation then keep whole connections alive in the young one, and each minor collection
 * takes 15 ms in place of 1. `node --trace-gc` under many plain connections shows it: see "How dead connections were kept" in
 * docs/performance.md.
 */
import { setFlagsFromString } from 'node:v8';

// Bun has another collector.
if (!('bun' in process.versions)) setFlagsFromString('--no-allocation-site-pretenuring');
