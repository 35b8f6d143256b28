-- Releases of this step that have no allocation.
select * from pairs where is_release and seq not in (select seq from deferred_releases)
