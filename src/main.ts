#!/usr/bin/env node
/** The program. Signals come first: all that a module imports is loaded before it runs, so the rest is imported later. */
import './guard.ts';

await import('./command-line.ts');
