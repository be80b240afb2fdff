export function openExperiments(root) { root.append('…'); }
