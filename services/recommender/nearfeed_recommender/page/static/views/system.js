export function openSystem(root) { root.append('…'); }
