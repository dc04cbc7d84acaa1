//! POST /v1/notify and what follows from it, through the whole path.
