export function openSpace(root) { root.append('…'); }
