"""Documents that are zip archives: Word, OpenDocument and EPUB."""
