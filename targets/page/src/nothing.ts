// Stands in for a module of node.

export default {};
