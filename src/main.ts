#!/usr/bin/env node
/**
 * The program. Signals come first: all that a module imports is loaded before it runs,
 * so the rest is imported later.
 */
import './process/no-inspector.ts';

await import('./commands/command-line.ts');
