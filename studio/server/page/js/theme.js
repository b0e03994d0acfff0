// Runs before the first paint, hence no module: the theme chosen by hand, else the system's.
document.documentElement.dataset.theme = localStorage.getItem("theme") || "system";
