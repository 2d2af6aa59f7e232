/** What a worker is started with: signals first, as in main.ts, then the program of a worker. */
import './guard.ts';

await import('./worker-process.ts');
