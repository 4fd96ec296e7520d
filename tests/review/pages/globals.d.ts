// What `data/gallery.js` leaves for the pages; for the type checker alone.
declare var retouchGallery: unknown;
