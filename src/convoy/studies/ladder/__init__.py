"""What makes two recipes differ: from one to the other, one change at a time, and without each change."""
